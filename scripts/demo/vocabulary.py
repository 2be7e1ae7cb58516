"""The closed vocabulary of the tiny model: words by kind, in four languages, and syllables for words that do not exist.

Values only.  A kind is a slot of the templates; an entry may be a phrase.  Text is lower case without punctuation.
"""

LANGUAGES = ("English", "German", "Spanish", "French")

DIGITS = {
    "English": "zero one two three four five six seven eight nine".split(),
    "German": "null eins zwei drei vier fünf sechs sieben acht neun".split(),
    "Spanish": "cero uno dos tres cuatro cinco seis siete ocho nueve".split(),
    "French": "zéro un deux trois quatre cinq six sept huit neuf".split(),
}


def _phrases(text: str) -> list[str]:
    """Splits a comma-separated list over lines."""
    return [" ".join(phrase.split()) for phrase in text.split(",")]


KINDS: dict[str, dict[str, list[str]]] = {
    "English": {
        "person": _phrases(
            """my brother, your sister, the teacher, our neighbor, the farmer, the old woman, the young man, her mother,
            his father, the driver, the singer, the baker, a child, the students, the captain, the artist, the king"""
        ),
        "verb": _phrases(
            """buys, sells, sees, wants, finds, paints, brings, loves, hides, carries, washes, opens, forgets, needs,
            draws, cleans, makes, keeps"""
        ),
        "thing": _phrases(
            """a red apple, the bread, some cheese, a green bottle, the window, a small table, the blue car, his book,
            an old letter, the yellow flower, a white shirt, the garden, a cup of coffee, the music, her black dog,
            a wooden chair, the picture, the kitchen door, a big box, the newspaper, fresh milk, the lamp"""
        ),
        "place": _phrases(
            """in the city, at home, near the river, behind the house, on the beach, in the village, under the bridge,
            at the station, by the lake, in the forest, next to the church, at school, on the mountain"""
        ),
        "time": _phrases(
            """today, tomorrow, yesterday, every morning, in the evening, on monday, on friday, on sunday, this week,
            last summer, next winter, always, sometimes, after lunch, before dinner, at night"""
        ),
        "adjective": "happy tired hungry quiet rich cold warm busy funny clever angry ready late strong famous".split(),
        "plural": "apples birds letters tickets horses chairs books windows cars bottles stones songs".split(),
        "extra": """about above across action again against agree airplane almost animal answer around arrive august
            autumn banana basket battle beautiful because become begin believe between bicycle blanket border branch
            breakfast breathe bright broken brown building butter button camera candle careful castle center central
            century chance change cheap chicken choose circle climate cloud collect color company complete computer
            connect copper corner correct cotton country cousin create culture dance danger daughter december decide
            deep desert different difficult direct discover distant double dream during early earth east easy economy
            edge effort electric elephant empty energy engine enough enter exact example exercise experience express
            factory family feather february fever field final finger finish flight floor follow foreign forget fork
            forward freedom friend front future general gentle gift glass golden government gray great ground group
            half hammer hard harvest heavy history holiday honest hotel hour hundred imagine important industry
            information island january join journey judge jump june jungle kitchen knife ladder language laugh leather
            left lemon lesson library light liquid listen little local long machine magic manage march market marble
            matter measure metal middle million minute mirror modern moment money month morning motor mouse mouth
            national natural nature north notice november number object ocean october office often onion orange orchestra
            order other paper parent park part pencil people pepper perfect period person piano picture pilot planet
            plastic please pocket police poor popular position possible potato power practice present pretty prince
            private problem produce program promise protect public purple question quick radio rain reason record
            remember report result return ribbon right ring rocket roof room round rubber salt sand saturday science
            season second secret september service seven shadow sharp shelter shoulder silver simple single sister
            soldier solution soup south special spider spring square standard station steel stomach storm story
            straight strange street sugar summer supper surface surprise sweater system talk taste television
            temperature theater thing thousand thunder thursday ticket together tomato tonight touch tower traffic
            train travel triangle trouble tuesday umbrella uncle under university until valley value vegetable victory
            visit voice volume wagon water weather wednesday weekend weight west wheel whisper wild winter wonder
            wool world write year young""".split(),
    },
    "German": {
        "person": _phrases(
            """mein bruder, deine schwester, der lehrer, unser nachbar, der bauer, die alte frau, der junge mann,
            ihre mutter, sein vater, der fahrer, die sängerin, der bäcker, ein kind, der student, der kapitän,
            die künstlerin, der könig"""
        ),
        "verb": _phrases(
            "kauft, verkauft, sieht, sucht, findet, malt, bringt, liebt, holt, trägt, wäscht, öffnet, vergisst, braucht"
        ),
        "thing": _phrases(
            """einen roten apfel, das brot, den käse, eine grüne flasche, das fenster, einen kleinen tisch,
            das blaue auto, sein buch, einen alten brief, die gelbe blume, ein weißes hemd, den garten,
            eine tasse kaffee, die musik, den schwarzen hund, einen stuhl, das bild, die küche, eine große kiste,
            die zeitung, frische milch, die lampe"""
        ),
        "place": _phrases(
            """in der stadt, zu hause, am fluss, hinter dem haus, am strand, im dorf, unter der brücke, am bahnhof,
            am see, im wald, neben der kirche, in der schule, auf dem berg"""
        ),
        "time": _phrases(
            """heute, morgen, gestern, jeden tag, am abend, am montag, am freitag, am sonntag, diese woche, im sommer,
            im winter, immer, manchmal, nach dem essen, in der nacht"""
        ),
        "adjective": "glücklich müde hungrig leise reich kalt warm fleißig lustig klug böse bereit stark".split(),
        "plural": "äpfel vögel briefe karten pferde stühle bücher fenster autos flaschen steine lieder".split(),
        "extra": """abend antwort arbeit augen blatt braun butter dach danke decke dunkel einfach ende erde fahrrad
            familie farbe feuer finger fisch flugzeug freund früh gabel geld gemüse geschichte gesicht glas gold hand
            herbst himmel hoch insel jahr kartoffel katze kirsche kleid könnte kopf kuchen kurz lachen land langsam
            leben leicht licht löffel luft markt maschine meer messer minute monat mond mund nase nacht name natur
            neben norden papier platz regen reise richtig salz sand schiff schloss schnee schnell schwer sonne spiel
            sprache straße stunde süden suppe tasche teller tier tochter traum treppe tür uhr vogel wagen wasser weg
            wein welt wetter wind wolke wort zahl zeit zimmer zitrone zucker zug""".split(),
    },
    "Spanish": {
        "person": _phrases(
            """mi hermano, tu hermana, el maestro, nuestro vecino, el granjero, la vieja señora, el joven, su madre,
            su padre, el conductor, la cantante, el panadero, un niño, el estudiante, el capitán, la artista, el rey"""
        ),
        "verb": _phrases(
            "compra, vende, mira, busca, encuentra, pinta, trae, quiere, esconde, lleva, lava, abre, olvida, necesita"
        ),
        "thing": _phrases(
            """una manzana roja, el pan, el queso, una botella verde, la ventana, una mesa pequeña, el coche azul,
            su libro, una carta vieja, la flor amarilla, una camisa blanca, el jardín, una taza de café, la música,
            el perro negro, una silla, el cuadro, la cocina, una caja grande, el periódico, leche fresca, la lámpara"""
        ),
        "place": _phrases(
            """en la ciudad, en casa, cerca del río, detrás de la casa, en la playa, en el pueblo, bajo el puente,
            en la estación, junto al lago, en el bosque, al lado de la iglesia, en la escuela, en la montaña"""
        ),
        "time": _phrases(
            """hoy, mañana, ayer, cada día, por la tarde, el lunes, el viernes, el domingo, esta semana, en verano,
            en invierno, siempre, a veces, después de comer, por la noche"""
        ),
        "adjective": "feliz cansado tranquilo rico frío caliente ocupado gracioso listo enojado fuerte famoso".split(),
        "plural": "manzanas pájaros cartas billetes caballos sillas libros ventanas coches botellas piedras".split(),
        "extra": """abuelo agua aire alto amigo animal arena árbol azúcar baile barco boca bonito brazo cabeza calle
            cama camino campo canción caro cerdo cielo cine ciudadano claro color correr cuchara cuerpo dinero dulce
            edad fácil familia fecha fiesta fuego gato gente grande guerra hablar hambre hermoso hijo historia hoja
            hombre hora huevo invierno isla jabón juego jugo largo lengua limón lluvia luna luz madera mano mar mercado
            mesa minuto moneda mundo nariz nieve nombre norte nube número ojo oro otoño papel pared pelo pescado piso
            planta plata plaza pollo primavera pueblo puerta queso reloj ropa sal semana sol sombrero sopa sueño sur
            tarde techo tiempo tienda tierra tren trigo uva vaca vaso viaje vida viento vino zapato""".split(),
    },
    "French": {
        "person": _phrases(
            """mon frère, ta soeur, le professeur, notre voisin, le fermier, la vieille dame, le jeune homme, sa mère,
            son père, le chauffeur, la chanteuse, le boulanger, un enfant, le garçon, le capitaine, la reine, le roi"""
        ),
        "verb": _phrases(
            "achète, vend, regarde, cherche, trouve, peint, apporte, aime, cache, porte, lave, ouvre, oublie, demande"
        ),
        "thing": _phrases(
            """une pomme rouge, le pain, le fromage, une bouteille verte, la fenêtre, une petite table,
            la voiture bleue, son livre, une vieille lettre, la fleur jaune, une chemise blanche, le jardin,
            une tasse de café, la musique, le chien noir, une chaise, le tableau, la cuisine, une grande boîte,
            le journal, du lait frais, la lampe"""
        ),
        "place": _phrases(
            """dans la ville, à la maison, près de la rivière, derrière la maison, sur la plage, au village,
            sous le pont, à la gare, au bord du lac, dans la forêt, à côté de la mairie, à l'école, sur la montagne"""
        ),
        "time": _phrases(
            """aujourd'hui, demain, hier, chaque jour, le soir, lundi, vendredi, dimanche, cette semaine, en été,
            en hiver, toujours, parfois, après le repas, la nuit"""
        ),
        "adjective": "content fatigué tranquille riche froid chaud occupé drôle malin fâché prêt célèbre".split(),
        "plural": "pommes oiseaux lettres billets chevaux chaises livres fenêtres voitures bouteilles pierres".split(),
        "extra": """abeille acheter ami animal arbre argent automne avion bateau beau beurre bois bonjour bouche bras
            campagne carotte chambre chanson chapeau chat chemin cheveux ciel clé coeur couleur couteau cuillère danse
            dent désert dessin doux eau étoile facile famille farine femme fête feu feuille fille fleuve fruit gâteau
            gauche glace grand herbe heure histoire homme île image jambe jeu joie jouet lait langue légume lent lit
            long lumière lune main manteau marché matin mer midi miel minute moment monde mouton mur neige nez nom nord
            nuage oeuf ombre orange papier pays peau plante plat pluie poche poisson pomme porte poule printemps
            question robe route sable sac salade sel semaine soleil sucre sud table temps terre tête train travail
            vache vent verre viande vie vin voix vrai yeux""".split(),
    },
}

TEMPLATES: dict[str, list[str]] = {
    "English": [
        "{person} {verb} {thing}",
        "{person} {verb} {thing} {place}",
        "{time} {person} {verb} {thing}",
        "{person} is {adjective} {time}",
        "{person} is {adjective} and {adjective}",
        "{digit} {plural} and {digit} {plural}",
        "there are {digit} {plural} {place}",
        "where is {thing}",
        "please bring {digit} {plural} {time}",
        "call {digit} {digit} {digit} {digit}",
    ],
    "German": [
        "{person} {verb} {thing}",
        "{person} {verb} {thing} {place}",
        "{time} {verb} {person} {thing}",
        "{person} ist {time} {adjective}",
        "{person} ist {adjective} und {adjective}",
        "{digit} {plural} und {digit} {plural}",
        "es gibt {digit} {plural} {place}",
        "wo ist {person}",
        "bitte {digit} {plural} {time}",
        "nummer {digit} {digit} {digit} {digit}",
    ],
    "Spanish": [
        "{person} {verb} {thing}",
        "{person} {verb} {thing} {place}",
        "{time} {person} {verb} {thing}",
        "{person} está {adjective} {time}",
        "{person} está {adjective} y {adjective}",
        "{digit} {plural} y {digit} {plural}",
        "hay {digit} {plural} {place}",
        "dónde está {thing}",
        "por favor {digit} {plural} {time}",
        "número {digit} {digit} {digit} {digit}",
    ],
    "French": [
        "{person} {verb} {thing}",
        "{person} {verb} {thing} {place}",
        "{time} {person} {verb} {thing}",
        "{person} est {adjective} {time}",
        "{person} est {adjective} et {adjective}",
        "{digit} {plural} et {digit} {plural}",
        "il y a {digit} {plural} {place}",
        "où est {thing}",
        "je veux {digit} {plural} {time}",
        "numéro {digit} {digit} {digit} {digit}",
    ],
}

# Syllables are onset + nucleus + coda, with spellings that have one usual sound in the language.
SYLLABLES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "English": (
        "b d f g h k l m n p r s t v w z bl br cl cr dr fl gr pl pr sp st tr sh ch th qu j".split(),
        "a e i o u a e i o ee oo ai or er ar".split(),
        ["", "", "", "n", "m", "l", "s", "t", "k", "p", "nd", "st", "x", "d", "ng"],
    ),
    "German": (
        "b d f g h k l m n p r s t w z bl br dr fl gr kl kr pf schl schw sch st sp tr zw".split(),
        "a e i o u ä ö ü ei au ie eu".split(),
        ["", "", "n", "m", "l", "r", "s", "t", "nd", "cht", "lt", "rt", "ck", "ss", "ng"],
    ),
    "Spanish": (
        "b c d f g l m n p r s t ch ll ñ br bl cr dr fl gr pl pr tr j qu".split(),
        "a e i o u a e i o ie ue ia".split(),
        ["", "", "", "", "n", "r", "l", "s"],
    ),
    "French": (
        "b d f g l m n p r s t v ch j br cl cr dr fl gr pl pr tr".split(),
        "a é i o u ou ai an on in eau eu oi è".split(),
        ["", "", "", "", "r", "l", "s", "c"],
    ),
}
LATINATE_PREFIXES = "re con pro de inter trans anti per sub super micro multi im ex auto bio tele".split()
LATINATE_SUFFIXES = "tion ment ic al ine ol in ate ide ium ity ous ia ent or ism able ure ary ogy ist en an one".split()
